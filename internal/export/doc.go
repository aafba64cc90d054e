// Package export writes what a user owns into one ZIP file, and keeps such files for a while.
//
// Write goes through the user's rows of every user and stream table, hot and cold, as one view of the store shows them, and writes each
// table twice: as JSON, with the values that answers of the SQL interface have, and as Parquet. Nothing is collected: what is read
// goes through the compressor to the writer. docs/design/formats/export.md has the layout.
//
// Shelf is the directory of one node in which finished files lie, each under a name that no other run of a job has. Which file is
// the one of an export is said by the result of its job, which is replicated (catalog.Export); whatever else lies in the directory
// is removed by Tend: files that are too old, that a newer one of the same user replaces, whose account is dropped, or that a run
// without an end left.
//
// What always holds: an export has rows of one user only, because they are read within a scope; a file whose bytes are not those
// of its result is never given out as a whole; all files of a node together have a limit.
package export
