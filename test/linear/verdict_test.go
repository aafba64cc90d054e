package linear

import (
	"fmt"
	"html/template"
	"os"
	"path/filepath"
)

// verdict is what a run showed.
type verdict struct {
	Seed      uint64
	Binary    string
	Faults    []happening
	Workloads []string
	Found     []finding
}

// finding is an anomaly in the report.
type finding struct {
	Workload, Kind, Text, Page string
}

// maxFindings of a workload are told one by one.
const maxFindings = 20

// collect judges every workload.
func (v *verdict) collect(workloads []workload, dir string) error {
	for _, w := range workloads {
		v.Workloads = append(v.Workloads, w.name()+": "+w.summary())
		found := w.judge()
		for i, a := range found {
			if i == maxFindings {
				v.Found = append(v.Found, finding{Workload: w.name(), Kind: "more", Text: fmt.Sprintf("%d more", len(found)-i)})
				break
			}
			f := finding{Workload: a.workload, Kind: a.kind, Text: a.text}
			if a.page != nil {
				f.Page = fmt.Sprintf("%s-%d.html", w.name(), i)
				if err := os.WriteFile(filepath.Join(dir, f.Page), a.page, 0o600); err != nil {
					return err
				}
			}
			v.Found = append(v.Found, f)
		}
	}
	return nil
}

var reportPage = template.Must(template.New("report").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Fault lab: {{len .Found}} findings</title>
<style>body{font:14px sans-serif;max-width:70em;margin:2em auto}pre{white-space:pre-wrap;background:#f4f4f4;padding:.6em}
td,th{text-align:left;vertical-align:top;padding:.2em .8em .2em 0}</style></head><body>
<h1>Fault lab: {{len .Found}} findings</h1><p>seed {{.Seed}}, server {{.Binary}}</p>
<h2>What cannot have happened</h2>
{{range .Found}}<h3>{{.Workload}}: {{.Kind}}</h3><pre>{{.Text}}</pre>{{if .Page}}<p><a href="{{.Page}}">the history</a></p>{{end}}
{{else}}<p>nothing</p>{{end}}
<h2>What the clients did</h2><ul>{{range .Workloads}}<li>{{.}}</li>{{end}}</ul>
<h2>What was broken</h2><ol>{{range .Faults}}<li>{{.}}</li>{{end}}</ol>
</body></html>
`))

// write makes the page of the run and returns its path.
func (v *verdict) write(dir string) (string, error) {
	path := filepath.Join(dir, "report.html")
	file, err := os.Create(path)
	if err != nil {
		return "", err
	}
	if err := reportPage.Execute(file, v); err != nil {
		_ = file.Close() // the first error is the one that matters
		return "", err
	}
	return path, file.Close()
}
