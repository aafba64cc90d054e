package parse

// CreateSchedule is CREATE SCHEDULE [IF NOT EXISTS] n EVERY '..' | CRON '..' [TIME ZONE '..'] [OVERLAP ALLOW|SKIP]
// [MISFIRE RUN|SKIP] DO statement.
type CreateSchedule struct {
	Pos
	IfNotExists bool
	Name        Ident
	Every       string // empty for a cron schedule
	Cron        string // empty for an interval
	TimeZone    string // empty when absent
	Overlap     bool   // OVERLAP ALLOW
	CatchUp     bool   // MISFIRE RUN
	Statement   Statement
}

// AlterSchedule is ALTER SCHEDULE n SET EVERY '..' | CRON '..' [TIME ZONE '..'], or PAUSE, or RESUME.
type AlterSchedule struct {
	Pos
	Name          Ident
	Every         string
	Cron          string
	TimeZone      string
	Pause, Resume bool
}

// DropSchedule is DROP SCHEDULE [IF EXISTS] n.
type DropSchedule struct {
	Pos
	IfExists bool
	Name     Ident
}

func (*CreateSchedule) statement() {}
func (*AlterSchedule) statement()  {}
func (*DropSchedule) statement()   {}

const scheduleName = "the name of a schedule"

// createSchedule reads what follows CREATE SCHEDULE.
func (p *parser) createSchedule(at Pos) Statement {
	s := &CreateSchedule{Pos: at, IfNotExists: p.ifNotExists(), Name: p.label(scheduleName)}
	s.Every, s.Cron, s.TimeZone = p.recurrence()
	if p.word("overlap") {
		if s.Overlap = p.word("allow"); !s.Overlap && !p.word("skip") {
			p.unexpected("ALLOW or SKIP")
		}
	}
	if p.word("misfire") {
		if s.CatchUp = p.word("run"); !s.CatchUp && !p.word("skip") {
			p.unexpected("RUN or SKIP")
		}
	}
	p.expectWord("do")
	p.enter()
	s.Statement = p.statement()
	p.leave()
	return s
}

// recurrence reads EVERY '..' or CRON '..', and a time zone.
func (p *parser) recurrence() (every, cron, zone string) {
	switch {
	case p.word("every"):
		every = p.text("an interval in quotes")
	case p.word("cron"):
		cron = p.text("a cron text in quotes")
	default:
		p.unexpected("EVERY or CRON")
	}
	if p.words("time", "zone") {
		zone = p.text("a time zone in quotes")
	}
	return every, cron, zone
}

// alterSchedule reads what follows ALTER SCHEDULE.
func (p *parser) alterSchedule(at Pos) Statement {
	s := &AlterSchedule{Pos: at, Name: p.label(scheduleName)}
	switch {
	case p.word("pause"):
		s.Pause = true
	case p.word("resume"):
		s.Resume = true
	case p.word("set"):
		s.Every, s.Cron, s.TimeZone = p.recurrence()
	default:
		p.unexpected("SET, PAUSE or RESUME")
	}
	return s
}

// schedule adds statements about schedules.
func (w *printer) schedule(statement Statement) bool {
	switch s := statement.(type) {
	case *CreateSchedule:
		w.create("CREATE SCHEDULE ", s.IfNotExists)
		w.name(s.Name.Name)
		w.recurrence(s.Every, s.Cron, s.TimeZone)
		w.when(s.Overlap, " OVERLAP ALLOW")
		w.when(s.CatchUp, " MISFIRE RUN")
		w.text(" DO ")
		w.statement(s.Statement)
	case *AlterSchedule:
		w.column("ALTER SCHEDULE ", s.Name, "")
		switch {
		case s.Pause:
			w.text(" PAUSE")
		case s.Resume:
			w.text(" RESUME")
		default:
			w.text(" SET")
			w.recurrence(s.Every, s.Cron, s.TimeZone)
		}
	case *DropSchedule:
		w.drop("DROP SCHEDULE ", s.IfExists, ObjectName{Name: s.Name.Name}, false)
	default:
		return false
	}
	return true
}

func (w *printer) recurrence(every, cron, zone string) {
	if cron != "" {
		w.text(" CRON ")
		w.literal(cron)
	} else {
		w.text(" EVERY ")
		w.literal(every)
	}
	if zone != "" {
		w.text(" TIME ZONE ")
		w.literal(zone)
	}
}
