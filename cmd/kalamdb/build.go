package main

import (
	"runtime/debug"

	"github.com/kalamdb/kalamdb-go/internal/api/httpapi"
)

// version is that of the next release.
const version = "0.1.0-dev"

// readBuild says which program this is: the version, with the source revision when the binary knows it,
// and the time of that revision.
func readBuild() httpapi.Build {
	build := httpapi.Build{Version: version, Date: "unknown"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return build
	}
	const shownDigits = 12
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			build.Version += "+" + setting.Value[:min(shownDigits, len(setting.Value))]
		case "vcs.time":
			build.Date = setting.Value
		}
	}
	return build
}
