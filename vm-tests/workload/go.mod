module proa.dev/workload

go 1.25
