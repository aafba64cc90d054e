package sim

import (
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/applier"
	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/live"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// feedMutant stands between state machines and those who follow.
type feedMutant struct {
	*changefeed.Feed
	publish func(group shard.GroupID, changes []changefeed.Change)
	deaf    bool
}

// Publish implements applier.Publisher.
func (f *feedMutant) Publish(group shard.GroupID, changes []changefeed.Change) {
	if f.publish == nil {
		f.Feed.Publish(group, changes)
		return
	}
	f.publish(group, changes)
}

// Reset implements applier.Publisher.
func (f *feedMutant) Reset(group shard.GroupID) {
	if !f.deaf {
		f.Feed.Reset(group)
	}
}

func tearApart(w *watcher, notifications []live.Notification) {
	for i := range notifications {
		w.hear(notifications[i : i+1])
	}
}

func lossyFeed(n *simNode, feed *changefeed.Feed) applier.Publisher {
	return &feedMutant{Feed: feed, publish: func(group shard.GroupID, changes []changefeed.Change) {
		if n.w.rng.IntN(20) > 0 {
			feed.Publish(group, changes)
		}
	}}
}

func deafFeed(_ *simNode, feed *changefeed.Feed) applier.Publisher {
	return &feedMutant{Feed: feed, deaf: true}
}

// tellOthers is a node that looks for subscribers by what they ask for and not by whose rows they are: what one user changes in a
// private table is a change for the other one too.
func tellOthers(n *simNode, feed *changefeed.Feed) applier.Publisher {
	return &feedMutant{Feed: feed, publish: func(group shard.GroupID, changes []changefeed.Change) {
		told := slices.Clone(changes)
		for i := range told {
			if load := n.w.load; load != nil && uint64(told[i].Table) == load.live.private && string(told[i].User) == liveUser {
				told[i].User = ident.UserID(load.liveUsers()[1])
			}
		}
		feed.Publish(group, told)
	}}
}
