package catalog

import (
	"bytes"
	"fmt"
	"hash"
	"hash/fnv"
	"unicode/utf8"

	"evolution-openai-patch/patch/plan"
	"evolution-openai-patch/patch/postgres"
)

// readKeys adds the statement that counts the stored keys, and returns where the count will be, nil if they cannot be read.
func readKeys(b *postgres.Batch, s plan.State) *plan.Keys {
	if !s.Table.CanCopy("id", plan.KeyColumn) {
		return nil
	}
	columns := []string{"id", plan.KeyColumn}
	if s.Table.CanCopy(plan.InstanceColumn) {
		columns = []string{"id", plan.InstanceColumn, plan.KeyColumn}
	}
	k, limit := new(plan.Keys), s.Table.Column(plan.KeyColumn).Limit
	p := pairs{keys: k, hash: fnv.New64a(), seen: map[uint64]bool{}}
	b.Rows(postgres.CopyTo(s.Schema, plan.TableName, columns...), func(row []byte) error {
		id, key, _ := bytes.Cut(bytes.TrimSuffix(row, []byte("\n")), []byte("\t"))
		if instance, rest, found := bytes.Cut(key, []byte("\t")); found {
			key = rest
			p.add(instance, key)
		}
		countKey(k, id, key, limit)
		return nil
	})
	return k
}

// maxPairs is the most pairs of instance and key that are compared, because a run has little memory.
const maxPairs = 20_000

// pairs counts the credentials that repeat a key of their own instance.
type pairs struct {
	keys *plan.Keys
	hash hash.Hash64
	seen map[uint64]bool // the hashes of the pairs so far; nil if there are too many
}

// add adds the pair of one credential; COPY wrote both. Without the spaces at their ends, equal keys are the same bytes with escapes, too.
func (p *pairs) add(instance, key []byte) {
	if p.seen == nil || string(instance) == `\N` || string(key) == `\N` { // as in a unique index, NULL repeats nothing
		return
	}
	p.hash.Reset()
	for _, part := range [][]byte{instance, {'\t'}, bytes.TrimRight(key, " ")} {
		_, _ = p.hash.Write(part)
	}
	pair := p.hash.Sum64()
	if p.seen[pair] {
		if name := beginning(instance); p.keys.Repeated == 0 || name < p.keys.RepeatedIn {
			p.keys.RepeatedIn = name // of several the first by name, so that each look says the same
		}
		p.keys.Repeated++
	}
	if p.seen[pair] = true; len(p.seen) > maxPairs {
		p.seen, p.keys.Repeated, p.keys.RepeatedIn = nil, 0, ""
	}
}

// countKey counts the key of one credential; COPY wrote both. The limit is that of the column, in characters, 0 for none.
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

// countKeys adds a query for the same counts, to be executed while the table is locked and a query can run no code of its owner's. It
// replaces COPY there because a client that stalls in the middle of COPY would keep the lock.
func countKeys(b *postgres.Batch, s plan.State) *postgres.Value {
	return b.Read(fmt.Sprintf(`SELECT pg_catalog.json_build_object(
		'bare', count(*) FILTER (WHERE %[1]s),
		'full', count(*) FILTER (WHERE %[2]s AND NOT (%[1]s)),
		'spaced', count(*) FILTER (WHERE %[3]s))::pg_catalog.text FROM ONLY %[4]s`, s.Table.Paddable(), plan.BareKey, plan.SpacedKey, s.QualifiedTable()))
}

// RequireKeys requires, for the locked table, that there are no keys to be changed, or keys with spaces, where there were none when the
// plan was made. Otherwise new keys do no harm: the plan changes every key that there is.
func RequireKeys(b *postgres.Batch, s plan.State) {
	b.Require(fmt.Sprintf("(SELECT (%t OR count(*) FILTER (WHERE %s) = 0) AND (%t OR count(*) FILTER (WHERE %s) = 0) FROM ONLY %s)",
		s.Keys.Bare > 0, s.Table.Paddable(), s.Keys.Spaced > 0, plan.SpacedKey, s.QualifiedTable()))
}
