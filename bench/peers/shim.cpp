//go:build peers

// What native.go calls of hnswlib and faiss: plain C, no exceptions, labels as uint32.

#include <algorithm>
#include <cstdint>
#include <exception>
#include <vector>

#include <omp.h>

#include <faiss/IndexBinaryFlat.h>
#include <faiss/IndexFlat.h>
#include <hnswlib/hnswlib.h>

extern "C" void openblas_set_num_threads(int);

namespace {

struct Hnsw {
    hnswlib::InnerProductSpace space;
    hnswlib::HierarchicalNSW<float> graph;
    Hnsw(long n, int dim, int m, int ef_construction) : space(dim), graph(&space, n, m, ef_construction) {}
    Hnsw(const char *path, int dim) : space(dim), graph(&space, path) {}
};

void use(int threads) {
    omp_set_num_threads(threads);
    openblas_set_num_threads(threads);
}

}  // namespace

extern "C" {

void *hnswlib_new(long n, int dim, int m, int ef_construction) {
    try {
        return new Hnsw(n, dim, m, ef_construction);
    } catch (const std::exception &) {
        return nullptr;
    }
}

// Rows first, ..., first + n - 1; 0 or, after an exception, -1.
int hnswlib_add(void *index, const float *rows, long first, long n, int dim, int threads) {
    auto &graph = static_cast<Hnsw *>(index)->graph;
    int failed = 0;
#pragma omp parallel for schedule(dynamic, 64) num_threads(threads)
    for (long i = 0; i < n; i++) try {
            graph.addPoint(rows + i * dim, first + i);
        } catch (const std::exception &) {
#pragma omp atomic write
            failed = -1;
        }
    return failed;
}

int hnswlib_save(void *index, const char *path) {
    try {
        static_cast<Hnsw *>(index)->graph.saveIndex(path);
        return 0;
    } catch (const std::exception &) {
        return -1;
    }
}

void *hnswlib_load(const char *path, int dim) {
    try {
        return new Hnsw(path, dim);
    } catch (const std::exception &) {
        return nullptr;
    }
}

void hnswlib_search(void *index, const float *probes, long n, int dim, int k, int ef, int threads, uint32_t *labels) {
    auto &graph = static_cast<Hnsw *>(index)->graph;
    graph.setEf(ef);
#pragma omp parallel for schedule(dynamic, 8) num_threads(threads)
    for (long i = 0; i < n; i++) {
        auto found = graph.searchKnn(probes + i * dim, k);
        std::fill(labels + i * k, labels + (i + 1) * k, UINT32_MAX);
        for (; !found.empty(); found.pop()) labels[i * k + found.size() - 1] = found.top().second;
    }
}

long hnswlib_bytes(void *index) {
    auto &g = static_cast<Hnsw *>(index)->graph;
    long bytes = 0;
    for (size_t i = 0; i < g.cur_element_count; i++)
        bytes += g.size_data_per_element_ + g.element_levels_[i] * g.size_links_per_element_;
    return bytes;
}

void hnswlib_free(void *index) { delete static_cast<Hnsw *>(index); }

void *flat_build(const float *rows, long n, int dim) {
    try {
        auto *x = new faiss::IndexFlatIP(dim);
        x->add(n, rows);
        return x;
    } catch (const std::exception &) {
        return nullptr;
    }
}

void flat_search(void *index, const float *probes, long n, int k, int threads, int64_t *labels) {
    use(threads);
    std::vector<float> scores(n * k);
    static_cast<faiss::IndexFlatIP *>(index)->search(n, probes, k, scores.data(), labels);
}

void flat_free(void *index) { delete static_cast<faiss::IndexFlatIP *>(index); }

void *binary_build(const uint8_t *codes, long n, int bits) {
    try {
        auto *x = new faiss::IndexBinaryFlat(bits);
        x->add(n, codes);
        return x;
    } catch (const std::exception &) {
        return nullptr;
    }
}

void binary_search(void *index, const uint8_t *probes, long n, int k, int threads, int64_t *labels) {
    use(threads);
    std::vector<int32_t> distances(n * k);
    static_cast<faiss::IndexBinaryFlat *>(index)->search(n, probes, k, distances.data(), labels);
}

void binary_free(void *index) { delete static_cast<faiss::IndexBinaryFlat *>(index); }
}
