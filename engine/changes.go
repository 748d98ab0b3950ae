package engine

import "slices"

// maxRecent bounds the changes of a gallery that are remembered: 16 KiB of a gallery that had as many, and more
// than what 16 writers make while a million templates of dim 512 are searched.
const maxRecent = 4096

// changeLog numbers the changes of a gallery's rows in memory and remembers whose the last of them were, so that a
// search can tell whom it may have seen half. gallery.mu guards it.
type changeLog struct {
	count  uint64   // changes so far
	recent []uint32 // change number n, from 0, was of the label at n mod maxRecent
}

// note counts one change. REQUIRES: the rows change under the same hold of gallery.mu.
func (l *changeLog) note(label uint32) {
	if len(l.recent) < maxRecent {
		l.recent = append(l.recent, label)
	} else {
		l.recent[l.count%maxRecent] = label
	}
	l.count++
}

// since returns the labels that changed since count was from, sorted, each once; known is false if there were
// more changes than are remembered. The slice is the caller's.
func (l *changeLog) since(from uint64) (labels []uint32, known bool) {
	if l.count-from > maxRecent {
		return nil, false
	}
	for n := from; n < l.count; n++ {
		labels = append(labels, l.recent[n%maxRecent])
	}
	slices.Sort(labels)
	return slices.Compact(labels), true
}
