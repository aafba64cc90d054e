package server

import (
	"fmt"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/jobs"
)

// maxClockError is by how much the clock of a node may differ from those of others for deletions to be forgotten by it. Their age is known to an
// hour at best.
const maxClockError = 5 * time.Minute

// clocksAgree says why the time of this node should not decide how old something is: it is not, within maxClockError, that of a majority of the members.
// It is nil when it is.
func (n *Node) clocksAgree() error {
	if n.cfg.Standalone() {
		return nil
	}
	members, agree, differ, worst := 0, 0, 0, time.Duration(0)
	for _, m := range n.catalog.Current().Members() {
		if m.Removed {
			continue
		}
		members++
		offset, told := time.Duration(0), true
		if m.Replica != n.self() {
			offset, told = n.gossip.offset(m.Replica)
		}
		switch {
		case !told:
		case offset.Abs() <= maxClockError:
			agree++
		default:
			differ++
			if offset.Abs() > worst.Abs() {
				worst = offset
			}
		}
	}
	switch {
	case 2*agree > members:
		return nil
	case differ == 0:
		return fmt.Errorf("%w: the clocks of %d of %d members are known, which is no majority", jobs.ErrNothingToDo, agree, members)
	}
	return fmt.Errorf("the clock of node %d agrees with those of %d of %d members, itself included; another one differs by %s. "+
		"Deletions are kept until a majority agrees: set the clocks right", n.cfg.Cluster.NodeID, agree, members, worst.Round(time.Second))
}
