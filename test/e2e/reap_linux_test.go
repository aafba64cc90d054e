package e2e

import "syscall"

// childAttributes ends a server with the test process, also when that is killed.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
