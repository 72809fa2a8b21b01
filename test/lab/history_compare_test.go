package lab

import (
	"encoding/json"

	"pgregory.net/rapid"

	"evolution-openai-patch/test/pgtest"
)

// dump dumps the database, and goes on with one that was restored from that. It takes long, so it is rare.
func (h *history) dump(r *rapid.T) {
	if rapid.IntRange(0, amount(9, 19)).Draw(r, "dump") > 0 {
		return
	}
	schema := h.d.Schema
	h.d = h.d.RestoreElsewhere(h.t)
	h.d.Exec("SET search_path TO " + pgtest.Quote(schema))
}

// compare compares the database with the model.
func (h *history) compare(r *rapid.T) {
	if got, want := h.found(r).String(), h.m.String(); got != want {
		r.Fatalf("the database is\n%s\nand the model\n%s", got, want)
	}
}

// found returns what is in the database.
func (h *history) found(r *rapid.T) model {
	var found struct {
		Table, Function, Guard bool
		Key, Name              indexKind
		Trigger                string
		Rows                   map[string]struct{ Name, Key string }
	}
	text := h.d.Text(`SELECT jsonb_build_object('Table', to_regclass('"OpenaiCreds"') IS NOT NULL,
		'Function', to_regproc('evolution_openai_patch') IS NOT NULL,
		'Guard', EXISTS (SELECT FROM pg_event_trigger),
		'Key', ` + indexOn("apiKey") + `, 'Name', ` + indexOn("name") + `,
		'Trigger', (SELECT coalesce(max(tgenabled::text), '') FROM pg_trigger WHERE tgname = 'evolution_openai_patch' AND tgrelid = to_regclass('"OpenaiCreds"')))`)
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		r.Fatal(err)
	}
	m := model{table: found.Table, function: found.Function, key: found.Key, name: found.Name, trigger: found.Trigger, rows: map[string]credential{}}
	if found.Guard {
		m.guard = &request{}
	}
	if !m.table {
		return m
	}
	m.younger = h.d.Text(`SELECT count(*) FROM "_prisma_migrations" WHERE id = 'younger'`) == "1"
	rows := h.d.Text(`SELECT coalesce(jsonb_object_agg(id, jsonb_build_object('Name', name, 'Key', "apiKey")), '{}') FROM "OpenaiCreds"`)
	if err := json.Unmarshal([]byte(rows), &found.Rows); err != nil {
		r.Fatal(err)
	}
	for id, row := range found.Rows {
		m.rows[id] = credential{row.Name, row.Key}
	}
	return m
}

// indexOn returns an expression for the kind of the index on a column.
func indexOn(column string) string {
	return `(SELECT coalesce(min(CASE WHEN indisunique THEN CASE WHEN c.relname = 'OpenaiCreds_` + column + `_key' THEN 'unique' ELSE 'renamed' END
			WHEN obj_description(c.oid, 'pg_class') LIKE 'evolution-openai-patch%' THEN CASE WHEN c.relname = 'OpenaiCreds_` + column + `_key' THEN 'plain' ELSE 'plain, renamed' END
			ELSE 'unmarked' END), 'none')
		FROM pg_index JOIN pg_class c ON c.oid = indexrelid JOIN pg_attribute a ON a.attrelid = indrelid AND a.attnum = indkey[0]
		WHERE indrelid = to_regclass('"OpenaiCreds"') AND attname = '` + column + `')`
}
