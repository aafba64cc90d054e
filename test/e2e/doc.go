// Package e2e tests the server as its users meet it: real processes, real disks, real sockets.
//
// TestMain builds the server once. A test starts one node or a cluster of them with files in a directory
// of its own, speaks to them over HTTP, and does to the processes what the world does: kill, pause, wipe,
// restart. It uses no Go package of the server but the public client; what it knows of the server are the public interface, the
// configuration keys and the place of the data directory.
//
// Nothing sleeps: a test waits for what it wants to see, with a deadline (eventually). When a test fails,
// the data directories and logs are kept and their place is printed.
//
// KALAMDB_E2E_RACE=1 builds the server with the race detector; KALAMDB_E2E_BINARY names one that is built
// already.
package e2e
