package jobs

import (
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// TestSchedules moves the clock over the due times of schedules: overlap, missed times, pause.
func TestSchedules(t *testing.T) {
	t.Parallel()
	l, p := newJobLab(t), newProbe()
	l.hold = 6 * time.Hour // the clock leaps
	r := l.runner(1, leads, 10, p.kind("statement", 0))
	schedule := func(name string, overlap, catchUp bool) {
		l.run(&commandv1.Command{Body: &commandv1.Command_CreateSchedule{CreateSchedule: &commandv1.CreateSchedule{Schedule: &commandv1.Schedule{
			Name: name, Every: "1m", Statement: "SELECT 1", User: "root", Overlap: overlap, CatchUp: catchUp,
			NextMicros: l.wall.Now().Add(time.Minute).UnixMicro(),
		}}}})
	}
	record := func(name string) *commandv1.Schedule {
		s, err := catalog.LoadSchedule(l.store, name)
		l.must(err)
		return s
	}
	schedule("alone", false, false)
	schedule("along", true, false)
	schedule("late", false, true)
	due := l.wall.Now().Add(time.Minute)
	l.step(r)
	if record("alone").GetLastJob() != 0 {
		t.Error("it fired before its time")
	}
	l.wall.Advance(time.Minute)
	for range 3 {
		l.step(r) // makes the jobs once, claims them
	}
	for range 3 {
		receive(t, p.started)
	}
	if s := record("alone"); s.GetLastMicros() != due.UnixMicro() || s.GetNextMicros() != due.Add(time.Minute).UnixMicro() || s.GetLastJob() == 0 {
		t.Errorf("after the first time: %v", s)
	}
	l.wall.Advance(time.Minute) // the first jobs run still
	for range 3 {
		l.step(r)
	}
	receive(t, p.started)
	if len(p.started) > 0 || record("alone").GetSkipped() != 1 || record("along").GetSkipped() != 0 {
		t.Errorf("overlap: %d more runs, %v, %v", len(p.started), record("alone"), record("along"))
	}
	for range 4 {
		p.end <- nil
	}
	r.Wait()
	for len(l.wall.timers) > 0 {
		<-l.wall.timers
	}
	l.wall.Advance(10*time.Minute + 31*time.Second) // nobody looked: many times were missed
	for range 3 {
		l.step(r)
	}
	receive(t, p.started)
	if len(p.started) > 0 {
		t.Errorf("missed times: %d runs more than the one that is made up for", len(p.started))
	}
	if s := record("late"); s.GetSkipped() != 1 || record("alone").GetSkipped() != 2 || s.GetNextMicros() != due.Add(12*time.Minute).UnixMicro() {
		t.Errorf("missed times: late %v, alone %v", s, record("alone"))
	}
	p.end <- nil
	r.Wait()
	l.run(&commandv1.Command{Body: &commandv1.Command_AlterSchedule{AlterSchedule: &commandv1.AlterSchedule{Name: "late", Paused: new(true)}}})
	before := record("late").GetLastJob()
	l.wall.Advance(time.Hour)
	l.step(r)
	if record("late").GetLastJob() != before {
		t.Error("it fired while it was paused")
	}
}
