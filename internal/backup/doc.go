// Package backup writes the rows and the catalog of a cluster to an object store, verifies what lies there, and puts it into
// another cluster of any size.
//
// A backup is one manifest and many chunks. Chunks hold records, without a word about shards, and are named by the hash of their content; where
// one ends and the next begins is said by the records themselves. What did not change since the last backup to the same
// place therefore has the same chunks, and they are not written again. The manifest is written last: until then there is no backup,
// and then there is all of it. docs/design/formats/backup.md has the bytes.
//
// Write makes one from one view of a node's own store, which shows every group at one applied index; the
// indexes are in the manifest. Verify reads everything and believes nothing. Restore proposes the rows, each in the group to which
// the shards of the new cluster send its owner, and compares the digests of all tables at the end.
//
// What always holds: a chunk is used only when its bytes have the hash of its name; memory is bounded by a few chunks; a
// backup never overwrites anything.
package backup
