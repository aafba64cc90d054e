// Package catalog is what a node knows about its cluster: identity, members, namespaces, tables, users and
// pending cleanups.
//
// The truth is the keys of the meta group. A Catalog is an immutable picture of them at one applied index of
// that group; a Store holds the newest published one. A reader takes Store.Current once per statement and
// sees one consistent picture however long it works; nothing it gets from there may be changed. Only the meta
// state machine makes new pictures, through an Editor: the parts that did not change are shared with the picture
// before, so that an edit costs a few microseconds and not a copy of 100,000 users.
//
// The package also holds the stored forms: conversions between the structs here, schema.Table and the
// protobuf messages, which are the same in commands and in keys.
//
// It decides nothing: what a command may do is said by applier, who may ask for it by sql/plan.
package catalog
