package catalog

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"evolution-openai-patch/patch/plan"
	"evolution-openai-patch/patch/postgres"
	"evolution-openai-patch/patch/quote"
)

// sharedSQL selects the credentials that share a value with others.
const sharedSQL = `SELECT pg_catalog.row_to_json(r)::pg_catalog.text FROM (
	SELECT pg_catalog.left(g.id::pg_catalog.text, 100) AS id, pg_catalog.left(g.name::pg_catalog.text, 100) AS name, pg_catalog.left(g.instance::pg_catalog.text, 100) AS instance, %[4]s AS value, g.position AS group, g.size, g.groups
	FROM (
		SELECT c.*, pg_catalog.dense_rank() OVER (ORDER BY c.value) AS position, pg_catalog.count(*) FILTER (WHERE c.nth = 1) OVER () AS groups
		FROM (
			SELECT t.id, t.name, t."instanceId" AS instance, %[3]s AS value, pg_catalog.count(*) OVER (PARTITION BY %[3]s) AS size,
				pg_catalog.row_number() OVER (PARTITION BY %[3]s ORDER BY t.id::pg_catalog.text COLLATE "C") AS nth
			FROM ONLY %[1]s AS t WHERE t.%[2]s IS NOT NULL
		) AS c WHERE c.size > 1
	) AS g WHERE g.position <= %[5]d AND g.nth <= %[6]d
	ORDER BY g.position, g.nth
) AS r`

// endOfSecret is what comes of a secret value: the last four characters, which tell it from others, and of a short one none.
const endOfSecret = `CASE WHEN pg_catalog.length(pg_catalog.rtrim(g.value::pg_catalog.text, ' ')) > 12
	THEN pg_catalog.right(pg_catalog.rtrim(g.value::pg_catalog.text, ' '), 4) ELSE '' END`

// Shared reads the credentials that share a value with others in a column whose index is to come back, as revert compares it. It
// returns none where not every row can be read, and none where the query could run code of others: the table is locked as it is
// for a change, so that nobody attaches any meanwhile.
func (c Scope) Shared(ctx context.Context, conn *postgres.Conn, s Inspection, fixes []plan.Fix) (all []plan.Credential, err error) {
	if len(s.answersTo(code)) == 0 {
		if err := c.InspectCode(ctx, conn, &s); err != nil {
			return nil, err
		}
	}
	columns := []string{"id", "name", "instanceId"} // which tell credentials apart
	for _, f := range fixes {
		columns = append(columns, f.Column)
	}
	if !s.Table.CanCopy(columns...) || plan.CheckCode(s.State) != nil {
		return nil, nil
	}
	limits := c.Limits
	limits.Statement = limits.Idle
	b := conn.Begin("ISOLATION LEVEL READ COMMITTED READ WRITE", limits)
	Lock(b, s.State)
	s.RequireUnchanged(b)
	for _, f := range slices.Backward(fixes) { // whose order is that of revert
		if f.Index == "" {
			continue
		}
		shown, mark := "pg_catalog.left(g.value::pg_catalog.text, 100)", ""
		if f.Secret {
			shown, mark = endOfSecret, "…"
		}
		b.Rows(fmt.Sprintf(sharedSQL, s.QualifiedTable(), quote.Identifier(f.Column), s.Reverted(f), shown, plan.MaxGroups, plan.MaxMembers), func(row []byte) error {
			one := plan.Credential{Column: f.Column}
			err := json.Unmarshal(row, &one)
			one.Value = mark + one.Value
			all = append(all, one)
			return err
		})
	}
	b.Exec("COMMIT")
	if err = conn.Send(ctx, b, 2*limits.Idle); err == nil {
		c.nameInstances(ctx, conn, s.Schema, all)
	}
	return all, err
}

// nameInstances replaces the ids of instances by their names where all of that table can be read. COPY runs no code of others: it fails
// on a view, and where a policy would hide rows.
func (c Scope) nameInstances(ctx context.Context, conn *postgres.Conn, schema string, all []plan.Credential) {
	names := map[string]string{}
	for _, one := range all {
		names[one.Instance] = one.Instance
	}
	b := conn.Begin("READ ONLY", c.Limits)
	b.Rows(postgres.CopyTo(schema, plan.InstancesName, "id", "name"), func(row []byte) error {
		id, name, _ := bytes.Cut(row, []byte("\t"))
		if _, listed := names[string(id)]; !listed {
			return nil
		}
		if value := postgres.CopyValues(name)[0]; value != nil {
			names[string(id)] = postgres.Shorten(*value, 100)
		}
		return nil
	})
	b.Exec("COMMIT")
	if conn.Send(ctx, b, c.Limits.Idle) != nil {
		conn.RollBack(ctx, c.Limits.Idle)
		return
	}
	for i := range all {
		all[i].Instance = names[all[i].Instance]
	}
}
