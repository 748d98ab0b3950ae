package index

import "math"

// UpperBound is the one-sided 95 % upper confidence bound of Clopper and Pearson (Biometrika 26, 1934) on a rate that
// showed itself k times in n: the rate at which k or fewer have a chance of 5 %. It is 1 − 0.05^(1/n) for k = 0, about
// 3/n, and 1 for k ≥ n.
func UpperBound(k, n int) float64 {
	if k >= n {
		return 1
	}
	low, high := float64(k)/float64(n), 1.0
	for range 60 {
		p := (low + high) / 2
		if atMost(k, n, p) > 0.05 {
			low = p
		} else {
			high = p
		}
	}
	return high
}

// atMost is the chance of k or fewer of n at rate p ≥ k/n, summed from the largest term down to what adds nothing.
func atMost(k, n int, p float64) (sum float64) {
	if p >= 1 {
		return 0
	}
	term := math.Exp(logChoose(n, k) + float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p))
	for i := k; i >= 0 && term > sum*1e-17; i-- {
		sum += term
		term *= float64(i) / float64(n-i+1) * (1 - p) / p
	}
	return sum
}

func logChoose(n, k int) float64 {
	a, _ := math.Lgamma(float64(n + 1))
	b, _ := math.Lgamma(float64(k + 1))
	c, _ := math.Lgamma(float64(n - k + 1))
	return a - b - c
}
