"""A dataset to pretrain on, in few large files: tar shards that `tar` and WebDataset read, with an index beside each.

A pack is a folder::

    pack.json                 what it is: dataset, classes, how images were rescaled, its shards with their hashes
    training-000000.tar       00000000-n01440764_18.jpg, 00000000-n01440764_18.cls, 00000001-...
    training-000000.json      where in the tar every image is: id, class, offset, length, CRC-32
    held_out-000000.tar ...

Nothing but the index is ours; the tar alone holds images and class numbers. Images stand in an order drawn by hash, so
that whoever reads shards from end to end meets the classes mixed.
"""
