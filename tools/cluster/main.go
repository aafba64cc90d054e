// Command cluster runs several server processes and shows their logs side by side.
//
// It takes the server's binary and one configuration file for each node. Every line a node writes is
// printed behind the name of its file. An interrupt is passed on to all nodes, which drain; when one node
// ends by itself, the others go on, as they would on machines of their own. The exit code is not zero when
// a node failed.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: cluster <kalamdb binary> <config.toml>...")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

// run starts a node for each configuration and returns when all have ended.
func run(binary string, configs []string, out io.Writer) error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(stop)

	printer := &printer{out: out}
	nodes := make([]*exec.Cmd, 0, len(configs))
	ended := make(chan error, len(configs))
	for _, config := range configs {
		node, err := start(binary, config, printer, ended)
		if err != nil {
			signalAll(nodes, syscall.SIGTERM)
			return err
		}
		nodes = append(nodes, node)
	}
	var failures []error
	for running := len(nodes); running > 0; {
		select {
		case <-stop:
			signalAll(nodes, syscall.SIGTERM)
		case err := <-ended:
			running--
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}

// start runs one node in a process group of its own, so that an interrupt at the terminal reaches it
// once, through signalAll.
func start(binary, config string, printer *printer, ended chan<- error) (*exec.Cmd, error) {
	name := strings.TrimSuffix(filepath.Base(config), filepath.Ext(config))
	reader, writer := io.Pipe()
	node := exec.Command(binary, config)
	node.Stdout, node.Stderr = writer, writer
	node.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := node.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	printed := make(chan struct{})
	go func() {
		defer close(printed)
		printer.copy(name, reader)
	}()
	go func() {
		err := node.Wait()
		writer.Close()
		<-printed
		if err != nil {
			err = fmt.Errorf("%s: %w", name, err)
		}
		ended <- err
	}()
	return node, nil
}

func signalAll(nodes []*exec.Cmd, sig os.Signal) {
	for _, node := range nodes {
		_ = node.Process.Signal(sig) // one that has ended needs none
	}
}

// printer writes whole lines of several nodes to one place.
type printer struct {
	mu  sync.Mutex // guards out
	out io.Writer
}

func (p *printer) copy(name string, from io.Reader) {
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			p.mu.Lock()
			fmt.Fprintf(p.out, "%s | %s\n", name, strings.TrimSuffix(line, "\n"))
			p.mu.Unlock()
		}
		if err != nil {
			return
		}
	}
}
