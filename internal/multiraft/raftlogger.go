package multiraft

import (
	"fmt"
	"log/slog"
)

// raftLogger passes Raft's messages to slog. Raft reports each election and each configuration at info,
// for every group; that is detail here. Fatal and Panic mean that Raft found its own state broken: they
// panic, which stops the node.
type raftLogger struct{ log *slog.Logger }

// Debug implements raft.Logger.
func (l raftLogger) Debug(v ...any) { l.detail(fmt.Sprint(v...)) }

// Debugf implements raft.Logger.
func (l raftLogger) Debugf(format string, v ...any) { l.detail(fmt.Sprintf(format, v...)) }

// Info implements raft.Logger.
func (l raftLogger) Info(v ...any) { l.detail(fmt.Sprint(v...)) }

// Infof implements raft.Logger.
func (l raftLogger) Infof(format string, v ...any) { l.detail(fmt.Sprintf(format, v...)) }

// Warning implements raft.Logger.
func (l raftLogger) Warning(v ...any) { l.log.Warn("raft", slog.String("message", fmt.Sprint(v...))) }

// Warningf implements raft.Logger.
func (l raftLogger) Warningf(format string, v ...any) {
	l.log.Warn("raft", slog.String("message", fmt.Sprintf(format, v...)))
}

// Error implements raft.Logger.
func (l raftLogger) Error(v ...any) { l.log.Error("raft", slog.String("message", fmt.Sprint(v...))) }

// Errorf implements raft.Logger.
func (l raftLogger) Errorf(format string, v ...any) {
	l.log.Error("raft", slog.String("message", fmt.Sprintf(format, v...)))
}

// Fatal implements raft.Logger.
func (l raftLogger) Fatal(v ...any) { panic("raft: " + fmt.Sprint(v...)) }

// Fatalf implements raft.Logger.
func (l raftLogger) Fatalf(format string, v ...any) { panic("raft: " + fmt.Sprintf(format, v...)) }

// Panic implements raft.Logger.
func (l raftLogger) Panic(v ...any) { panic("raft: " + fmt.Sprint(v...)) }

// Panicf implements raft.Logger.
func (l raftLogger) Panicf(format string, v ...any) { panic("raft: " + fmt.Sprintf(format, v...)) }

func (l raftLogger) detail(message string) { l.log.Debug("raft", slog.String("message", message)) }
