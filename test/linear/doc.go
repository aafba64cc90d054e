// Package linear is the fault lab: real server processes under faults, and clients whose whole history is judged.
//
// Three servers run as processes; wires of this process carry what they say to each other. Clients of several
// workloads (traffic) run against all of them at once and write down every call, its return and its outcome
// (history), while faults come and go. Then the faults stop, every server must be well again, and each workload's
// rule (its model) is held against its history; all that was found goes into one verdict, and on failure into an HTML page.
//
//	traffic_test.go             clients, outcomes, pace
//	register_test.go            reads, writes and compare-and-set of rows: porcupine, one row at a time
//	set_test.go                 inserts are seen from their acknowledgement on, and never vanish
//	bank_test.go                money moves in transactions and is neither made nor lost
//	lists_test.go, cycle_test.go appends in transactions: a graph of dependencies without cycles (see below)
//	counter_test.go             increments that are repeated until they are acknowledged count once; _seq grows
//	stream_test.go              live queries: what was given, applied in order, is the table
//	fault_test.go               what is broken, and mended again
//	verdict_test.go             the rule of "what clients saw", and the report
//	planted_test.go             histories and servers with a planted bug, which must be found
//
// An outcome that nobody knows (a lost answer) may take effect at any time until the end of the run; it does not
// vanish. "Not decided in time" is a failure.
//
// The cycle checker reads a history of transactions over lists, each append a value of its own. A list that was read
// tells the order of all appends to its key, so writers follow each other (ww), readers follow the writer of the last
// element they saw (wr), and the writer of the next element follows the reader (rw); a transaction that began after
// another one had returned follows it in real time (rt). A cycle means that no single order explains what clients saw.
// Beside cycles it finds reads of what was never written or was refused, of half a transaction, elements twice, and
// lists that do not extend each other.
//
// make linear FOR=60s runs it; make linear-mutants plants bugs into the server and wants each of them found.
package linear
