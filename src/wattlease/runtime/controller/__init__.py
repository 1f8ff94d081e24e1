"""The loop of a cluster's controller: observe, decide, act, report; here for nodes that no scheduler looks after."""
