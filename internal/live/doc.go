// Package live keeps live queries: it turns committed changes into what each subscriber sees of them.
//
// A Subscription is one live query of one connection: SELECT columns FROM one table WHERE a condition. It
// starts with the rows that are there (or with the changes since a cursor), in batches that the client
// asks for; then it follows the changes of its group. Service makes subscriptions; a stream for each group
// matches changes to them after commit, on its own goroutine, and hands events to their Sink.
//
// Always true:
//
//   - Initial rows and changes are one stream: nothing is lost, nothing comes twice. The rows are those of one
//     point in the group's log, the boundary; everything after it comes from the change log, until the
//     subscription has caught up with its stream and follows that.
//   - Changes come in commit order, and those of one command together.
//   - Everything that is delivered has a larger _seq than what came before it, so the largest _seq a client
//     has seen is a cursor. It is a log position and holds on any node.
//   - Rows of user tables are found by key, never by filter: a subscription is attached to (table, user).
//   - A query with aggregates or an order is a view: its result is kept, and its differences are delivered.
//   - Conditions have the meaning of SQL: a row that stops matching is a delete, one that starts is an insert.
//   - A subscription that cannot go on is ended with a code. It is never silently incomplete.
//
// Lock order: stream.mu before whatever a Sink locks. Nothing here waits for a client.
package live
