// Package parse turns SQL text into syntax trees and syntax trees into SQL text.
//
// The dialect is PostgreSQL's expression and query grammar with its precedences, plus the statements that
// are KalamDB's own (namespaces, table kinds, storages, users, topics, jobs, cluster). Parse reads exactly
// one statement, ParseBatch a list separated by semicolons, Print writes a tree so that parsing the output
// gives the same tree again.
//
// The package knows nothing of catalogs, types or roles: it checks what syntax demands and nothing more.
// Names of types, functions and options are passed on as written. Identifiers are folded to lower case
// unless they were quoted; every name in a tree is therefore in its final form.
//
// What always holds: no input makes the package panic; text, nesting, lists and tokens are bounded (see
// limits.go) and exceeding a bound is a fault.LimitExceeded; what PostgreSQL has and this dialect has not is a fault.Unsupported
// (refused.go); every other failure is a fault.Syntax whose
// Line and Column point at the offending token, whose message names it and says what was expected.
//
// Some notations are read into the function call that PostgreSQL gives them, so that consumers see fewer
// nodes: EXTRACT(f FROM x) is extract('f', x); SUBSTRING(x FROM a FOR b) is substring(x, a, b);
// POSITION(a IN b) is strpos(b, a); TRIM([BOTH|LEADING|TRAILING] c FROM x) is btrim, ltrim or rtrim(x, c);
// OVERLAY(x PLACING y FROM a FOR b) is overlay(x, y, a, b); x AT TIME ZONE z is timezone(z, x);
// CURRENT_USER, CURRENT_TIMESTAMP and their kin are calls of that name, with or without parentheses.
package parse
