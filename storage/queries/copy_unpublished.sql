COPY unpublished_batch (observations) FROM STDIN (FORMAT binary)
