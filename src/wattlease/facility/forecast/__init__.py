"""The site's draw foreseen: seconds by a filter, the hour and two days by a model that has to earn its place."""
