"""A log on disk, written by one and read by many at their own pace: Kafka's idea without Kafka."""
