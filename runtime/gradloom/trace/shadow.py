def shadow_function(f): return f
