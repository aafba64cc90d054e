package bench

import (
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/pairlog"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// openLog opens one of the logs that raft.log_store names.
func openLog(store string, fsys disk.FS, dir string) (multiraft.OwnLog, error) {
	if store == config.LogPebble {
		log, err := pairlog.Open(pairlog.Config{FS: fsys, Dir: dir})
		if err != nil {
			return nil, err
		}
		return multiraft.LogOf(log), nil
	}
	log, err := raftlog.Open(raftlog.Config{FS: fsys, Dir: dir, Background: true})
	if err != nil {
		return nil, err
	}
	return multiraft.LogOf(log), nil
}

// checkLog refuses what names no log.
func checkLog(store string) error {
	if store != config.LogSegments && store != config.LogPebble {
		return fmt.Errorf("--log = %q: want %s or %s", store, config.LogSegments, config.LogPebble)
	}
	return nil
}
