"""Links from cells of tables to the board that tells more."""

CHOSEN = "${datasource:queryparam}&${job:queryparam}&${instance:queryparam}&${__url_time_range}"
TO_GPU_TYPE = ("Hosts of this GPU type", f"/d/spotd-gpu-type?{CHOSEN}&var-gpu_type=${{__value.text}}")
TO_CUSTOMER = ("This contract", f"/d/spotd-customer?{CHOSEN}&var-by=contract&var-customer=${{__value.text}}")
