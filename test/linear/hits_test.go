package linear

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// This file is the evidence that a fault hit something: a run of a lab whose faults do nothing would prove nothing.

// held counts what the wires swallowed or delayed.
func held(l *lab, _ int) (int, error) { return l.wires.Held() - l.held, nil }

// killed counts processes that a SIGKILL has ended since the fault began.
func killed(l *lab, _ int) (n int, err error) {
	for _, started := range l.starts {
		select {
		case <-started.ended:
			status, ok := started.command.ProcessState.Sys().(syscall.WaitStatus)
			if ok && status.Signal() == syscall.SIGKILL {
				n++
			}
		default:
		}
	}
	return n, nil
}

// leftPolitely counts processes that have ended without a complaint since the fault began.
func leftPolitely(l *lab, _ int) (n int, err error) {
	for _, started := range l.starts {
		select {
		case <-started.ended:
			if started.command.ProcessState.Success() {
				n++
			}
		default:
		}
	}
	return n, nil
}

// crashed counts processes that a fail point has ended since the fault began.
func crashed(l *lab, _ int) (n int, err error) {
	for _, started := range l.starts {
		select {
		case <-started.ended:
			if strings.Contains(started.logTail(), "failpoint panic") {
				n++
			}
		default:
		}
	}
	return n, nil
}

// stopped counts processes that the kernel does not run.
func stopped(l *lab, _ int) (n int, err error) {
	for _, p := range l.servers {
		if !p.paused {
			continue
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.command.Process.Pid))
		if err != nil {
			return 0, err
		}
		// The name of the program is in parentheses, and the state behind it.
		if _, state, ok := strings.Cut(string(text), ") "); ok && strings.HasPrefix(state, "T") {
			n++
		}
	}
	return n, nil
}

// isAnother counts a server whose directory is that of another store than before.
func isAnother(l *lab, victim int) (int, error) {
	p := l.servers[victim-1]
	if err := l.waitReady(); err != nil {
		return 0, err
	}
	if now := p.identity(); p.before != "" && now != "" && now != p.before {
		return 1, nil
	}
	return 0, nil
}

// identity is the content of the file that names the store of a server.
func (p *process) identity() string {
	text, err := os.ReadFile(filepath.Join(p.dir, "node.id"))
	if err != nil {
		return ""
	}
	return string(text)
}

// allStarts are the processes that run.
func (l *lab) allStarts() (all []process) {
	for _, p := range l.servers {
		all = append(all, *p)
	}
	return all
}

// tally is one line for each kind of fault: how often it came, and how often it hit something.
func tally(kinds []fault, log []happening) (lines []string, missing []string) {
	for _, kind := range kinds {
		came, hits := 0, 0
		for _, h := range log {
			if h.name == kind.name {
				came++
				hits += h.hits
			}
		}
		lines = append(lines, fmt.Sprintf("%s: %d times, %d hits", kind.name, came, hits))
		if hits == 0 {
			missing = append(missing, kind.name)
		}
	}
	slices.Sort(lines)
	return lines, missing
}
