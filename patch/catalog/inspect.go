package catalog

import (
	"bytes"
	"cmp"
	"context"
	"regexp"
	"slices"
	"strings"

	"evolution-openai-patch/patch/plan"
	"evolution-openai-patch/patch/postgres"
	"evolution-openai-patch/patch/quote"
)

// Inspect reads the State of a schema in one transaction of two round trips: the first asks the catalog what there is, of which
// types and readable by whom; the second asks about the details, and reads rows, only of what the first found to be an ordinary,
// readable table.
func (c Scope) Inspect(ctx context.Context, conn *postgres.Conn, schema string) (Inspection, error) {
	s := Inspection{State: plan.State{Schema: schema}}
	b := conn.Begin("ISOLATION LEVEL REPEATABLE READ READ ONLY", c.Limits)
	c.ask(b, identity, &s)
	if err := conn.Send(ctx, b, c.Limits.Idle); err != nil {
		return s, err
	}
	s.identify()
	b = &postgres.Batch{}
	c.ask(b, details, &s)
	readMigrations(b, &s.State)
	if s.Table != nil && c.Pad {
		s.Keys = readKeys(b, s.State)
	}
	b.Exec("COMMIT")
	err := conn.Send(ctx, b, c.Limits.Idle)
	switch postgres.SQLState(err) {
	case postgres.UndefinedTable, postgres.UndefinedColumn, postgres.InvalidSchemaName: // rows are read by the name of their table
		err = ErrSchemaChanged
	}
	return s, cmp.Or(err, s.complete())
}

// InspectCode adds to s what else may run when a key changes.
func (c Scope) InspectCode(ctx context.Context, conn *postgres.Conn, s *Inspection) error {
	b := conn.Begin("READ ONLY", c.Limits)
	c.ask(b, []*query{code}, s)
	b.Exec("COMMIT")
	return conn.Send(ctx, b, c.Limits.Idle)
}

// PresumeNoCode saves InspectCode its round trip where there is hardly anything to be found: a change then requires that nothing
// is.
func (s *Inspection) PresumeNoCode() { s.answers = append(s.answers, &answer{query: code}) }

// RowTooLong refuses a schema in which a row is longer than what can be read.
func RowTooLong(schema string) error {
	table, list := quote.Qualified(schema, plan.TableName), quote.Qualified(schema, plan.MigrationsName)
	return plan.Refuse(`a row of %s or %s is longer than 1 MiB, which none of Evolution's is; SELECT ctid FROM %s AS t WHERE octet_length(t::text) > 1000000 finds it, or SELECT ctid FROM %s WHERE octet_length(migration_name) > 1000000`,
		table, list, table, list)
}

// identify sets what has a name of its own in the State.
func (s *Inspection) identify() {
	s.Table, s.List = s.Relation(plan.TableName), s.Relation(plan.MigrationsName)
	s.guarded = slices.ContainsFunc(s.rows.schemas, func(n plan.Named) bool { return n.Name == plan.GuardName(s.Schema) })
	for _, t := range []*plan.Relation{s.Table, s.List} {
		if t != nil {
			t.Columns = slices.DeleteFunc(slices.Clone(s.rows.columns), func(c plan.Column) bool { return c.Relation != t.OID })
		}
	}
}

// complete does the same when everything has been read, and adds the details.
func (s *Inspection) complete() error {
	s.identify()
	if s.Guard != nil {
		s.Guard.Functions = s.rows.guardFunctions
	}
	if s.Table == nil {
		return nil
	}
	for i, c := range s.Table.Columns {
		s.Table.Columns[i].Equates = slices.Contains(s.rows.collations, struct{ Collation string }{c.Collation})
	}
	s.Table.Indexes = s.rows.indexes
	for _, x := range s.Table.Indexes {
		if x.Definition == "" { // the functions that print it see the present, not the snapshot
			return &postgres.NotReadyError{Reason: "an index was dropped while it was inspected"}
		}
	}
	slices.SortFunc(s.Table.Indexes, func(a, b *plan.Index) int { return strings.Compare(a.Name, b.Name) })
	s.sortConstraints()
	return nil
}

// sortConstraints tells the constraints apart by what they matter for.
func (s *Inspection) sortConstraints() {
	column := s.Table.Column(plan.KeyColumn)
	for _, k := range s.rows.constraints {
		if x := s.Table.Index(k.Index); x != nil && !x.Primary {
			x.Constraints = append(x.Constraints, k)
		}
		switch {
		case k.Type == "c" && k.Relation == s.Table.OID:
			s.Checks = append(s.Checks, k)
		case k.Type != "f" || column == nil:
		case k.Relation == s.Table.OID && slices.Contains(k.Columns, column.Number),
			k.Referred == s.Table.OID && slices.Contains(k.ReferredColumns, column.Number):
			s.ForeignKeys = append(s.ForeignKeys, k)
		}
	}
}

// beginning returns the beginning of a value that COPY wrote, for a message. Of four bytes, a character or an escape takes no more.
func beginning(raw []byte) string {
	value := postgres.CopyValues(raw[:min(len(raw), 4*plan.MaxID)])[0]
	if value == nil {
		return ""
	}
	return postgres.Shorten(*value, plan.MaxID)
}

// timeStamp matches the beginning of the name of a migration.
var timeStamp = regexp.MustCompile(`^[0-9]{14}`)

// readMigrations adds the statement that reads Prisma's list into s, if that can be read.
func readMigrations(b *postgres.Batch, s *plan.State) {
	if !s.List.CanCopy(plan.ListColumns...) {
		return
	}
	b.Rows(postgres.CopyTo(s.Schema, plan.MigrationsName, plan.ListColumns...), func(row []byte) error {
		name, rest, _ := bytes.Cut(row, []byte("\t"))
		s.Migrations.Listed = true
		s.Migrations.Evolutions = s.Migrations.Evolutions || string(name) == plan.FirstMigration
		switch finished, rolledBack, _ := strings.Cut(strings.TrimSuffix(string(rest), "\n"), "\t"); {
		case rolledBack != `\N`:
		case finished == `\N`:
			if s.Migrations.Unfinished++; s.Migrations.Unfinished <= plan.MaxNames {
				s.Migrations.Names = append(s.Migrations.Names, beginning(name))
			}
		default:
			s.Migrations.Last = max(s.Migrations.Last, string(timeStamp.Find(name)))
		}
		return nil
	})
}
