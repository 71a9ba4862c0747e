module ripcord-bench

go 1.22
