// Package pgparse compares what this server's printer writes with what PostgreSQL's own parser reads. It is a module of its own,
// because that parser needs cgo and the product does not; nothing of it enters the product.
//
//	make pgparse
//
// The statements are those of test/sqllogic and the seeds of the parser; what differs stands in a list with its reason.
package pgparse
