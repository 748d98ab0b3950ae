// Package index holds what the indexes below it share: how a search is asked for and answered, the list of the
// best labels, sets of rows, errors.
//
// An index holds vectors, row numbers and labels, and knows nothing of people, galleries or what the truth is. A row
// is one vector; a label groups the rows of one person; a search answers with labels, each once, by its best row. Rows
// are numbered by the index and their numbers used again.
//
// [mien/index/scan] compares a probe with every row.
package index
