package config

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// Join says that a node never founds a cluster, and where else than at its peers it looks for one.
type Join struct {
	Wanted    bool
	Addresses []string // host:port, or the name of an SRV record
}

// maxJoinAddresses bounds the list.
const maxJoinAddresses = 64

// UnmarshalTOML reads true, false or a list of addresses.
func (j *Join) UnmarshalTOML(raw []byte) error {
	var flag struct{ Join bool }
	if toml.Unmarshal(append([]byte("join = "), raw...), &flag) == nil {
		*j = Join{Wanted: flag.Join}
		return nil
	}
	var list struct{ Join []string }
	if err := toml.Unmarshal(append([]byte("join = "), raw...), &list); err != nil {
		return fmt.Errorf("cluster.join = %s: allowed: true, false, or a list of addresses", raw)
	}
	*j = Join{}
	if len(list.Join) > 0 {
		*j = Join{Wanted: true, Addresses: list.Join}
	}
	return nil
}

// UnmarshalText reads true, false or addresses separated by commas.
func (j *Join) UnmarshalText(text []byte) error {
	if flag, err := strconv.ParseBool(strings.TrimSpace(string(text))); err == nil {
		*j = Join{Wanted: flag}
		return nil
	}
	*j = Join{}
	for address := range strings.SplitSeq(string(text), ",") {
		if address = strings.TrimSpace(address); address != "" {
			j.Addresses, j.Wanted = append(j.Addresses, address), true
		}
	}
	return errors.Join(j.check()...)
}

// String prints the setting as a configuration file spells it.
func (j Join) String() string {
	if len(j.Addresses) == 0 {
		return strconv.FormatBool(j.Wanted)
	}
	quoted := make([]string, len(j.Addresses))
	for i, address := range j.Addresses {
		quoted[i] = strconv.Quote(address)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// check judges the addresses; whether they lead anywhere is found out when the node joins.
func (j Join) check() (wrong []error) {
	if len(j.Addresses) > maxJoinAddresses {
		return []error{invalid("cluster.join", fmt.Sprintf("list of %d", len(j.Addresses)), fmt.Sprintf("at most %d addresses", maxJoinAddresses))}
	}
	for i, address := range j.Addresses {
		_, err := hostOf(address, false)
		if _, _, split := net.SplitHostPort(address); split != nil && isServiceName(address) {
			err = nil
		}
		if err != nil {
			wrong = append(wrong, invalid(fmt.Sprintf("cluster.join[%d]", i), address,
				"host:port, or the name of an SRV record such as _kalamdb._tcp.example.org"))
		}
	}
	return wrong
}

// isServiceName reports whether a text has the form _service._proto.name.
func isServiceName(text string) bool {
	labels := strings.Split(strings.TrimSuffix(text, "."), ".")
	const least = 3
	return len(labels) >= least && len(text) < 254 && strings.HasPrefix(labels[0], "_") && strings.HasPrefix(labels[1], "_") &&
		!strings.ContainsAny(text, " \t\n/@:")
}
