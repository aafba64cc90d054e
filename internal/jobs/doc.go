// Package jobs runs background work: each node has one Runner, and the meta group decides which of them runs what.
//
// A job's record is replicated (see applier and catalog). A Runner reads the records from its own store, claims
// what is due and what it can run, keeps the claim alive with heartbeats, and reports the end with the claim's fencing token.
// The Runner of the meta group's leader also expires the claims of silent nodes, fires schedules, and makes the jobs
// that the cluster owes itself.
//
// Always true: the record of a job is changed by at most one run, the one with its last token; a Runner
// cancels work whose claim it lost, or could not renew for as long as the claim holds. Cancelling takes a while to be noticed,
// so a kind's effects must bear being carried out twice, or the kind must not be retried.
//
// A kind of job is a Kind: one file, and one line where server lists them. DESIGN.md has the life cycle.
package jobs
