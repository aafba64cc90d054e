module github.com/kalamdb/kalamdb-go/test/oracle/pgparse

go 1.26.0

require (
	github.com/kalamdb/kalamdb-go v0.0.0
	github.com/pganalyze/pg_query_go/v6 v6.2.5
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/cockroachdb/apd/v3 v3.2.3 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace github.com/kalamdb/kalamdb-go => ../../..
