"""What `aws s3 cp` of 1 GiB down costs the command itself, with and without its check of each part's checksum."""
