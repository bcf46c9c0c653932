module mtafleet.io/test/cluster/tools/pause

go 1.26.0
