// Package oracle compares this server with DuckDB: queries are made up from a seed, run on both over the same rows,
// and every difference that is not on the list of differences is an error. It is a module of its own, because DuckDB
// needs cgo and the product does not; nothing of it enters the product.
//
//	make oracle                        # the queries of the default seed
//	make oracle SEED=7 N=5000          # others
//	WRITE=../sqllogic N=330 go test -run TestWriteScripts .   # scripts whose results are DuckDB's
package oracle
