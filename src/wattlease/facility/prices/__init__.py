"""What energy and carbon cost now and ahead: feeds in the background, their last good word on disk, a tariff below."""
