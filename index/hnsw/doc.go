// Package hnsw is a scan with a hierarchical navigable small world graph over its rows (Malkov and Yashunin,
// arXiv:1603.09320), for galleries whose space has a structure that a graph can follow.
package hnsw
