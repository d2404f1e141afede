"""The models as equations: predictors, gradient flows and tangent kernels, each written once.

`theory`, the backend "numpy" and the peers of the bench suite use these. What is written in
operators alone takes the arrays of NumPy, JAX and PyTorch alike; what needs more takes their
namespace as ``xp``.
"""
