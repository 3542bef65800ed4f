"""How many cases hypothesis tries: "quick", the same ones each time, or "slow", many more and others each time.

GFL_TF_FUZZ=slow chooses the latter.
"""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "quick",
    derandomize=True,
    deadline=None,
    max_examples=30,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile("slow", settings.get_profile("quick"), derandomize=False, max_examples=500)
settings.load_profile(os.environ.get("GFL_TF_FUZZ", "quick"))
