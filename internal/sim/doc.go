// Package sim runs a whole cluster on one goroutine, from one seed, in tests.
//
// The parts are the real ones: multiraft, raftlog, statemachine, applier, catalog, executor and storage. What
// they stand on is ours: the clock (clock.Manual), the network (transport.Network) and the disk (Pebble's
// crashable memory file system). A seed draws the cluster, the clients, and which faults exist at all; then
// it decides every single one of them. The first line of output is the seed, and the same seed on the same
// commit gives the same run: every frame on the wire, every write to the log and every applied entry goes into one
// hash, which a test compares.
//
// A run has three parts. Clients write, read and change tables while nodes crash, forget, pause, lose their
// disks and cannot hear each other. Then the faults stop, and within a bound every node must be a healthy
// voter of every group. Then everything is compared: with each other, with a naive model of what the log
// says, and with what clients were told.
//
// Concurrency is written as coroutines (iter.Pull): a client, a node that joins and one that carries out a job
// each are a plain function that gives way whenever production would wait.
//
// Everything but this page is in test files, so nothing of it can enter the product. docs/design/testing.md says
// what the simulator has found.
package sim
