package patch

import (
	"bytes"
	"cmp"
	"context"
	"evolution-openai-patch/patch/plan"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"evolution-openai-patch/patch/postgres"
	"evolution-openai-patch/patch/quote"
)

// inspect reads the State of a schema in one transaction of two round trips: the first asks the catalog what there is, of which types
// and readable by whom; the second asks about the details, and reads rows, only of what the first found to be an ordinary, readable
// table.
func (c *Config) inspect(ctx context.Context, conn *postgres.Conn, schema string) (Inspection, error) {
	s := Inspection{State: plan.State{Schema: schema}}
	b := conn.Begin("ISOLATION LEVEL REPEATABLE READ READ ONLY", c.limits())
	c.ask(b, identity, &s)
	if err := conn.Send(ctx, b, c.ConnectTimeout.Duration); err != nil {
		return s, err
	}
	s.identify()
	b = &postgres.Batch{}
	c.ask(b, details, &s)
	c.readRows(b, &s.State)
	b.Exec("COMMIT")
	err := conn.Send(ctx, b, c.ConnectTimeout.Duration)
	if code := postgres.SQLState(err); code == "42P01" || code == "42703" { // undefined_table, undefined_column: it is read by its name
		err = errSchemaChanged
	}
	return s, cmp.Or(err, s.complete())
}

// inspectCode adds to s what else may run when a key changes.
func (c *Config) inspectCode(ctx context.Context, conn *postgres.Conn, s *Inspection) error {
	b := conn.Begin("READ ONLY", c.limits())
	c.ask(b, code, s)
	b.Exec("COMMIT")
	return conn.Send(ctx, b, c.ConnectTimeout.Duration)
}

// rowTooLong refuses a schema in which a row is longer than what can be read.
func rowTooLong(schema string) error {
	table, list := quote.Qualified(schema, plan.TableName), quote.Qualified(schema, plan.MigrationsName)
	return plan.Refuse(`a row of %s or %s is longer than 1 MiB, which none of Evolution's is; SELECT ctid FROM %s WHERE octet_length(id) + octet_length("apiKey") > 1000000 finds it, or SELECT ctid FROM %s WHERE octet_length(migration_name) > 1000000`,
		table, list, table, list)
}

// readRows adds what is read of rows.
func (c *Config) readRows(b *postgres.Batch, s *plan.State) {
	readMigrations(b, s)
	if s.Table != nil && c.Fixes.MayPad() {
		s.Keys = readKeys(b, *s)
	}
}

// identify sets what has a name of its own in the State.
func (s *Inspection) identify() {
	s.Table, s.List = s.Relation(plan.TableName), s.Relation(plan.MigrationsName)
	s.Guarded = slices.ContainsFunc(s.rows.schemas, func(n plan.Named) bool { return n.Name == plan.GuardName(s.Schema) })
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
		s.Table.Columns[i].Equates = slices.ContainsFunc(s.rows.collations, func(o struct{ Collation string }) bool { return o.Collation == c.Collation })
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
	column := s.Table.Column("apiKey")
	for _, k := range s.rows.constraints {
		if x := s.Table.Index(k.Index); x != nil && !x.Primary {
			x.Constraints = append(x.Constraints, k)
		}
		switch {
		case k.Type == "c" && k.Relation == s.Table.OID:
			s.Checks = append(s.Checks, k)
		case k.Type != "f" || column == nil:
		case k.Relation == s.Table.OID && slices.Contains(k.Columns, column.Number), k.Referred == s.Table.OID && slices.Contains(k.ReferredColumns, column.Number):
			s.ForeignKeys = append(s.ForeignKeys, k)
		}
	}
}

// readKeys adds the statement that counts the stored keys, and returns where the count will be, nil if they cannot be read.
func readKeys(b *postgres.Batch, s plan.State) *plan.Keys {
	if !s.Table.CanCopy("id", "apiKey") {
		return nil
	}
	k, limit := new(plan.Keys), s.Table.Column("apiKey").Limit
	b.Rows(postgres.CopyTo(s.Schema, plan.TableName, "id", "apiKey"), func(row []byte) error {
		id, key, _ := bytes.Cut(bytes.TrimSuffix(row, []byte("\n")), []byte("\t"))
		countKey(k, id, key, limit)
		return nil
	})
	return k
}

// countKey adds the key of one credential, both as COPY writes them. The column takes so many characters, or any number if limit
// is 0.
func countKey(k *plan.Keys, id, raw []byte, limit int) {
	key := raw
	if len(raw) <= 2*plan.MaxKey && bytes.ContainsRune(raw, '\\') { // an escape takes two bytes; without one nothing is copied
		value := postgres.CopyValues(raw)[0]
		if value == nil {
			return
		}
		key = []byte(*value)
	}
	if len(key) > plan.MaxKey {
		k.Long = append(k.Long[:0], id[:min(len(id), plan.MaxID)]...)
		return
	}
	bare := bytes.TrimRight(key, " ")
	spaces := len(key) - len(bare)
	switch {
	case spaces == 1:
	case limit == 0 || utf8.RuneCount(bare) < limit:
		k.Bare++
	default:
		k.Full++
	}
	if spaces > 0 {
		k.Spaced++
	}
}

// countKeys adds a query for the same counts, for the moment in which the table is locked and none of its owner's code can run
// in a query. A COPY of many rows to a client that stalls would keep the lock.
func countKeys(b *postgres.Batch, s plan.State) *postgres.Slot {
	return b.Read(fmt.Sprintf(`SELECT pg_catalog.json_build_object(
		'bare', count(*) FILTER (WHERE %[1]s),
		'full', count(*) FILTER (WHERE %[2]s AND NOT (%[1]s)),
		'spaced', count(*) FILTER (WHERE %[3]s))::pg_catalog.text FROM ONLY %[4]s`, s.Table.Paddable(), plan.BareKey, plan.SpacedKey, s.QualifiedTable()))
}

// requireKeys adds a query, for the same moment, that fails as that of requireUnchanged does if a key was stored since they were
// counted that the plan knows nothing of: one to be changed, or one with spaces, where there was none. Other keys may come at any
// time, as the plan changes every key that there is.
func requireKeys(b *postgres.Batch, s plan.State) {
	b.Exec(fmt.Sprintf("SELECT 1 / CASE WHEN (%t OR count(*) FILTER (WHERE %s) = 0) AND (%t OR count(*) FILTER (WHERE %s) = 0) THEN 1 ELSE 0 END FROM ONLY %s",
		s.Keys.Bare > 0, s.Table.Paddable(), s.Keys.Spaced > 0, plan.SpacedKey, s.QualifiedTable()))
}

// timeStamp matches the beginning of the name of a migration.
var timeStamp = regexp.MustCompile(`^[0-9]{14}`)

// readMigrations adds the statement that reads Prisma's list into s, if that can be read.
func readMigrations(b *postgres.Batch, s *plan.State) {
	columns := []string{"migration_name", "finished_at", "rolled_back_at"}
	if !s.List.CanCopy(columns...) {
		return
	}
	b.Rows(postgres.CopyTo(s.Schema, plan.MigrationsName, columns...), func(row []byte) error {
		name, rest, _ := bytes.Cut(row, []byte("\t"))
		switch finished, rolledBack, _ := strings.Cut(strings.TrimSuffix(string(rest), "\n"), "\t"); {
		case rolledBack != `\N`:
		case finished == `\N`:
			s.Migrations.Unfinished++
		default:
			s.Migrations.Last = max(s.Migrations.Last, string(timeStamp.Find(name)))
		}
		return nil
	})
}
