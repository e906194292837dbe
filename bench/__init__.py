"""Load generator and peer comparison: talks S3 to an endpoint and knows nothing of our own code."""
