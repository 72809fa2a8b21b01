package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Selection is the value of PATCH_FIXES.
type Selection struct {
	Auto  bool  // besides Named, those that instances that share a key need
	Named []Fix // in the order of the catalogue
}

// UnmarshalText implements encoding.TextUnmarshaler. The error quotes no name, because it may be a secret.
func (s *Selection) UnmarshalText(text []byte) error {
	words := strings.Split(string(text), ",")
	for i := range words {
		words[i] = strings.TrimSpace(words[i])
		if words[i] == "auto" {
			s.Auto = true
		} else if !Contains(Fixes, words[i]) {
			return fmt.Errorf("%w; known: auto, %s", unknownFix(words[i], i+1, len(words)), strings.Join(fixNames(Fixes), ", "))
		}
	}
	for _, f := range Fixes {
		if slices.Contains(words, f.Name) {
			s.Named = append(s.Named, f)
		}
	}
	return nil
}

// unknownFix says what is wrong with one of several words in PATCH_FIXES.
func unknownFix(word string, position, of int) error {
	switch {
	case word == "" && position == of:
		return errors.New("ends with a comma")
	case word == "":
		return fmt.Errorf("has nothing before comma %d", position)
	case strings.ContainsAny(word, "; \t\n|:+"):
		return errors.New("is not separated by commas")
	case of == 1:
		return errors.New("is not a fix")
	}
	return fmt.Errorf("name %d of %d is not a fix", position, of)
}

// Complete adds the fixes without which those named are of no use, and returns their names. Putting an index back requires instead that
// what needs it to be gone is reverted.
func (s *Selection) Complete(goal Goal) (added []string) {
	named := s.Named
	s.Named = nil
	for _, f := range Fixes {
		needed := slices.ContainsFunc(named, func(n Fix) bool { return n.Needs == f.Name })
		if goal == Revert {
			needed = Contains(named, f.Needs)
		}
		if Contains(named, f.Name) {
			s.Named = append(s.Named, f)
		} else if needed {
			s.Named, added = append(s.Named, f), append(added, f.Name)
		}
	}
	return added
}

// MayPad reports whether fixes that concern the keys themselves may be selected.
func (s *Selection) MayPad() bool { return s.Auto || Pads(s.Named) }

// Select returns the fixes that are selected where s was found, in the order in which they are applied or reverted.
func Select(selection Selection, goal Goal, s State) []Fix {
	selected := selection.Named // shared by all schemas
	if selection.Auto {
		selected = nil
		for _, f := range Fixes {
			if s.auto(f, goal) || Contains(selection.Named, f.Name) {
				selected = append(selected, f)
			}
		}
	}
	if goal == Revert {
		selected = slices.Clone(selected)
		slices.Reverse(selected) // the padding is reverted before the index that it needs to be gone
	}
	return selected
}

// auto reports whether auto selects a fix. Besides those that it stands for, status and revert count an index that is gone all the same.
func (s State) auto(f Fix, goal Goal) bool {
	switch {
	case f.Pad && goal == Revert:
		return s.isPadded()
	case f.Auto:
		return true
	case goal == Look:
		return s.Lacks(f) && checkIndexes(f, s) == nil
	case goal == Revert:
		return s.Lacks(f) && (s.Migrations.known() || len(s.kept(f)) > 0)
	}
	return false
}

// fixNames returns the names of fixes.
func fixNames(fixes []Fix) (names []string) {
	for _, f := range fixes {
		names = append(names, f.Name)
	}
	return names
}

// Contains reports whether a fix of that name is among fixes.
func Contains(fixes []Fix, name string) bool {
	return slices.ContainsFunc(fixes, func(f Fix) bool { return f.Name == name })
}

// Pads reports whether one of the fixes concerns the keys themselves.
func Pads(fixes []Fix) bool {
	return slices.ContainsFunc(fixes, func(f Fix) bool { return f.Pad })
}
