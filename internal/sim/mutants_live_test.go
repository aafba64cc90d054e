package sim

import (
	"github.com/kalamdb/kalamdb-go/internal/applier"
	"github.com/kalamdb/kalamdb-go/internal/changefeed"
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
