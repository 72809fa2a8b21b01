package plan

// Status says where a schema, or a fix in it, stands.
type Status string

// The words of the report.
const (
	Patched   Status = "patched"   // every fix requested is in place
	Pending   Status = "pending"   // no table yet
	Guarded   Status = "guarded"   // no table yet, and a guard is installed
	Unpatched Status = "unpatched" // a fix is not in place
	Failed    Status = "failed"
)

// Assessment says where the fixes stand.
type Assessment struct {
	Status Status
	Fixes  map[string]Status // by the fix's name
	Found  map[string]string // what there is of each fix, by its name
}

// EveryFix is the assessment that gives every fix the same status.
func EveryFix(fixes []Fix, status Status) Assessment {
	a := Assessment{Status: status, Fixes: map[string]Status{}}
	for _, f := range fixes {
		a.Fixes[f.Name] = status
	}
	return a
}

// Assess says where the fixes of a request stand, whatever its goal is. A name that is not kept counts for nothing.
func Assess(r Request, s State) Assessment {
	if s.Table == nil {
		a := EveryFix(r.Fixes, Pending)
		for _, f := range r.Fixes {
			if s.Guards([]Fix{f}) {
				a.Fixes[f.Name] = Guarded
			}
		}
		if s.Guards(r.Fixes) {
			a.Status = Guarded
		}
		return a
	}
	a := EveryFix(r.Fixes, Patched)
	a.Found = map[string]string{}
	s.Guard = nil // where there is a table, a guard is part of no fix
	for _, f := range r.Fixes {
		p, err := Make(Request{Schema: s.Schema, Fixes: []Fix{f}, KeepNames: r.KeepNames}, s)
		a.Found[f.Name] = shorten(p.Found[f.Name], 1000)
		switch {
		case s.notYet(f):
			a.Fixes[f.Name] = Pending
		case len(p.SQL) > 0 && !p.Optional || err != nil: // what cannot be applied may still be reverted
			a.Fixes[f.Name] = Unpatched
		}
	}
	for _, f := range r.Fixes {
		if status := a.Fixes[f.Name]; status == Unpatched || status == Pending && a.Status == Patched {
			a.Status = status
		}
	}
	return a
}
