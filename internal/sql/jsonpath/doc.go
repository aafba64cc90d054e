// Package jsonpath is the path language of SQL/JSON as PostgreSQL 15 has it: what stands on the right of @? and @@ and in the functions
// jsonb_path_query and its sisters.
//
// The main type is Path. Parse reads one, String prints it in PostgreSQL's canonical form, which parses to the same path, and Query goes
// through a document and gives the items that the path leads to, one after the other. Documents are walked where they are written
// (package jsontext); an item of a document is a piece of it.
//
// What always holds: a path is bounded by MaxBytes and MaxDepth, an evaluation by MaxSteps and by the statement that it belongs to, and
// what an evaluation keeps at a time by maxKept items. Numbers are exact decimals. Members come in the order of the document, where
// PostgreSQL orders them by their keys, and of members with one key the last counts.
//
// Not supported, and refused with a sentence: times with a zone but no date, which are no type here. Regular
// expressions are those of the compiler that Parse is given.
package jsonpath
