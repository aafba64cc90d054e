package expr

import (
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/timeform"
)

// templateFunction holds the functions that write and read values as templates say.
func templateFunction(name string) (definition, bool) {
	switch name {
	case "to_char":
		return definition{operands: []operandClass{anyOperand, textOperand}, result: datum.Of(datum.Text), apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
			return writeTemplate(a[0], a[1].Str())
		}}, true
	case "to_number":
		return definition{operands: []operandClass{textOperand, textOperand}, result: datum.Of(datum.Decimal), apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
			return readNumber(a[0].Str(), a[1].Str())
		}}, true
	case "to_date":
		return definition{operands: []operandClass{textOperand, textOperand}, result: datum.Of(datum.Date), apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
			return readTemplate(a[0], a[1], datum.Date)
		}}, true
	}
	return definition{}, false
}

// writeTemplate is to_char.
func writeTemplate(d datum.Datum, text string) (datum.Datum, error) {
	k := d.Kind()
	if text == "" {
		return datum.Datum{}, nil
	}
	if k.IsNumeric() {
		return numberText(d, text)
	}
	fields := &timeform.Fields{Zoned: k == datum.DateTime}
	switch {
	case k == datum.Interval || k == datum.Time:
		span := datum.Span{Micros: d.Int()}
		if k == datum.Interval {
			span = d.Interval()
		}
		fields.Span = true
		fields.Year, fields.Month, fields.Day = int64(span.Months/monthsPerYear), int(span.Months%monthsPerYear), int(span.Days)
		seconds := span.Micros / microsPerSecond
		fields.Hour, fields.Minute, fields.Second = int(seconds/3600), int(seconds/60%60), int(seconds%60)
		fields.Micros = int(span.Micros % microsPerSecond)
	case k.IsInstant() || k.IsString():
		instant := d
		if k.IsString() || k == datum.Date {
			var err error
			if instant, err = datum.Cast(d, datum.Of(datum.Timestamp)); err != nil {
				return datum.Datum{}, err
			}
		}
		fields.Clock = datum.ClockOf(instant)
	default:
		return datum.Datum{}, fault.New(fault.InvalidStatement, "to_char does not apply to %s", k)
	}
	template, err := timeform.Parse(text)
	if err != nil {
		return datum.Datum{}, err
	}
	return datum.NewText(template.Write(fields)), nil
}

// readTemplate is to_date and to_timestamp.
func readTemplate(d, form datum.Datum, k datum.Kind) (datum.Datum, error) {
	template, err := timeform.Parse(form.Str())
	if err != nil {
		return datum.Datum{}, err
	}
	read, err := template.Read(string(datum.AppendText(nil, d)))
	if err != nil {
		return datum.Datum{}, err
	}
	if k == datum.Date {
		return datum.NewInt(datum.Date, datum.DaysFromCivil(read.Year, read.Month, read.Day)), nil
	}
	micros, ok := read.Instant()
	if !ok {
		return datum.Datum{}, numberFault(k)
	}
	return datum.NewInt(k, micros-read.ZoneMinutes*60*microsPerSecond), nil
}
