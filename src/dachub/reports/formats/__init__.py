"""The formats of the consumers: how a record is written, and what they would refuse or misread."""
